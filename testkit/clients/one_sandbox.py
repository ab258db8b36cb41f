"""Has every call of schemathesis be about the same sandbox, which can be made. The names that it makes up are nobody's and its
images are nowhere: hardly a call would be about a sandbox that is there.
"""

import schemathesis

NAME = "of-schemathesis"


@schemathesis.hook
def map_path_parameters(context, parameters):
    if parameters and context.operation.path.startswith("/sandboxes/{name}"):
        return {**parameters, "name": NAME}
    return parameters


@schemathesis.hook
def map_body(context, body):
    operation = context.operation
    if not isinstance(body, dict) or operation.method.upper() != "POST":
        return body
    if operation.path == "/sandboxes":
        return {"name": NAME, "image": "host"}
    if operation.path.startswith("/sandboxes/{name}/exec"):
        # Every image has it. What it is given stays as it was made up.
        return {**body, "command": ["echo", *body.get("command", [])]}
    return body
