# METADATA
# custom:
#   callgate:
#     id: rego-mail-oneself
#     tools: [workspace.send_email]
package workspace.mail_oneself

default decision := null

decision := "allow" if oneself

oneself if {
	every recipient in input.args.recipients {
		recipient == "emma.johnson@bluesparrowtech.com"
	}
	not input.args.cc
	not input.args.bcc
}
