# METADATA
# custom:
#   callgate:
#     id: rego-invite
#     tools: [workspace.create_calendar_event]
package workspace.invite

default decision := null

decision := {"decision": "require_approval", "approval": {"reviewers": ["role:owner"]}} if {
	some participant in input.args.participants
	participant != "emma.johnson@bluesparrowtech.com"
}
