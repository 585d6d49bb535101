"""The board lab: consoles, volumes, actuators and devices of boards, served as Boardswarm's protocol has it."""
