# METADATA
# custom:
#   callgate:
#     id: rego-mail-links
#     tools: [workspace.send_email]
package workspace.mail_links

deny contains "No links in mail" if {
	some link in ["http://", "www."]
	contains(input.args.body, link)
}
