# METADATA
# description: Mail to anybody else waits for a person.
# custom:
#   callgate:
#     id: mail-outside
#     tools: [office.send_mail]
#     agents: [mailer]
package office.mail_outside

import data.lib.mail

default decision := null

decision := {
	"decision": "require_approval",
	"reason": "Mail that leaves the company needs a person",
} if not mail.inside
