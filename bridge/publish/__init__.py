"""Records reach Kafka, or are accounted for."""
