# METADATA
# custom:
#   callgate:
#     id: rego-look
#     tools: ["retail.find_*", "retail.get_*", retail.list_all_product_types, retail.calculate, retail.transfer_to_human_agents]
package retail.look

decision := "allow"
