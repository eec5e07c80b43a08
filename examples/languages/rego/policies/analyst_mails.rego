# METADATA
# description: The analyst may do both, but office.dogwood keeps them apart.
# custom:
#   callgate:
#     id: analyst-mails
#     tools: [office.send_mail]
#     agents: [analyst]
package office.analyst_mails

decision := "allow"
