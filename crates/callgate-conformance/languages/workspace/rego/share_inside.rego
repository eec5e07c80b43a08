# METADATA
# custom:
#   callgate:
#     id: rego-share-inside
#     tools: [workspace.share_file]
package workspace.share_inside

default decision := null

decision := "allow" if endswith(input.args.email, "@bluesparrowtech.com")
