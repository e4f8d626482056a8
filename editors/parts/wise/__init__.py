"""The parts of WISE: a side memory beside one projection, and the routing between both."""
