"""What should be subscribed: the control topic, its records, and the desired set that they fold into.

``topic`` reads as a member of the group, ``reader`` without joining it, ``writer`` writes; ``records`` and ``desired``
are pure, ``standing`` too; ``kafka`` puts librdkafka's errors and log into our words.
"""
