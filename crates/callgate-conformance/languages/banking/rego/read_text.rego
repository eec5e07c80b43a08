# METADATA
# custom:
#   callgate:
#     id: rego-read-text
#     tools: [banking.read_file]
package banking.read_text

default decision := null

decision := "allow" if {
	endswith(input.args.file_path, ".txt")
	not startswith(input.args.file_path, "/")
}
