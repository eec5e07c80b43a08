# METADATA
# custom:
#   callgate:
#     id: rego-invite-nobody
#     tools: [workspace.create_calendar_event]
package workspace.invite_nobody

default decision := null

decision := "allow" if not input.args.participants
