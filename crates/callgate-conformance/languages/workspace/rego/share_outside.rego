# METADATA
# custom:
#   callgate:
#     id: rego-share-outside
#     tools: [workspace.share_file]
package workspace.share_outside

default decision := null

decision := {"decision": "require_approval", "approval": {"reviewers": ["role:owner"]}} if {
	not endswith(input.args.email, "@bluesparrowtech.com")
	input.args.permission == "r"
}
