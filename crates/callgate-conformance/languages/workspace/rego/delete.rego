# METADATA
# custom:
#   callgate:
#     id: rego-delete
#     tools: ["workspace.delete_*", workspace.cancel_calendar_event]
package workspace.delete

decision := {
	"decision": "require_approval",
	"approval": {"reviewers": ["role:owner"]},
	"constraints": {"max_rows": 1},
}
