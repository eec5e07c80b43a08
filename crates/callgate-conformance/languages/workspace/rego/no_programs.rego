# METADATA
# custom:
#   callgate:
#     id: rego-no-programs
#     tools: [workspace.create_file]
package workspace.no_programs

deny contains "Programs are not made here" if {
	some ending in [".exe", ".sh"]
	endswith(input.args.filename, ending)
}
