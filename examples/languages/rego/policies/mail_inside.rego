# METADATA
# description: Mail to colleagues.
# custom:
#   callgate:
#     id: mail-inside
#     tools: [office.send_mail]
#     agents: [mailer]
package office.mail_inside

import data.lib.mail

default decision := null

decision := "allow" if mail.inside
