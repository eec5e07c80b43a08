# METADATA
# description: Shell commands, as whole texts; nothing that is longer is equal.
# custom:
#   callgate:
#     id: builder-commands
#     tools: [office.run]
#     agents: [builder]
package office.builder_commands

default decision := null

decision := "allow" if input.args.command in {"git status", "git diff", "make test"}
