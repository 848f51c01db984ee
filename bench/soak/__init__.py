"""The soak: random faults for as long as one likes, over wss and a real Kafka, judged at the end.

    make soak ARGS="--minutes 30 --seed 7"

A real broker and a strict venue stand behind lines that can be cut; one or two instances of the bridge work between
them while faults come one after another, each from the table in `faults`, drawn by the seed. After each fault
everything must be well again within bounds. At the end the judge of the fault lab compares what the venue wrote down
with what stands in the topics.
"""
