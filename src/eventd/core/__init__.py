"""The pure core: no I/O, no clock, no tasks. `engine.Engine.step` decides everything."""
