"""Steps of one request each (`--engine.deterministic`): its arithmetic depends on no other request.

In: the requests or streams that could run; out: the plan of a step, with shapes that follow from its request.
"""
