# METADATA
# custom:
#   callgate:
#     id: rego-invite-oneself
#     tools: [workspace.create_calendar_event]
package workspace.invite_oneself

default decision := null

decision := "allow" if {
	every participant in input.args.participants {
		participant == "emma.johnson@bluesparrowtech.com"
	}
}
