# METADATA
# custom:
#   callgate:
#     id: rego-mail-others
#     tools: [workspace.send_email]
package workspace.mail_others

default decision := null

decision := {"decision": "require_approval", "approval": {"reviewers": ["role:owner"]}} if not oneself

oneself if {
	every recipient in input.args.recipients {
		recipient == "emma.johnson@bluesparrowtech.com"
	}
	not input.args.cc
	not input.args.bcc
}
