# METADATA
# custom:
#   callgate:
#     id: rego-create-file
#     tools: [workspace.create_file, workspace.append_to_file]
package workspace.create_file

decision := {"decision": "allow_with_constraints", "constraints": {"max_bytes": 65536, "max_retries": 2}}
