# METADATA
# custom:
#   callgate:
#     id: rego-look
#     tools: ["workspace.get_*", "workspace.search_*", workspace.list_files]
package workspace.look

decision := "allow"
