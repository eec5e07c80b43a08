# METADATA
# custom:
#   callgate:
#     id: rego-password
#     tools: [banking.update_password]
package banking.password

decision := {
	"decision": "require_approval",
	"approval": {"reviewers": ["role:owner"], "quorum": 1, "expires": "30m"},
}
