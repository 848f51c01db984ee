"""The chart and the image on a real Kubernetes cluster, with a real Kafka: `make cluster-test`.

Opt-in: it is collected only when this directory is named, because it needs root, a Go toolchain and, once, some ten
minutes to build Kubernetes from its Go modules. Whatever is missing is named by the tests that it skips.
"""
