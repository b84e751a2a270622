# The application and its service principal. There is no azuread_application_password
# here: its value would lie in the state, and a secret that twokey has removed would
# be made anew by the next apply.
resource "azuread_application" "this" {
  display_name = "aiconnectors-${var.name}-${var.environment}"
  owners       = concat([var.bot_object_id], var.owner_object_ids)
}

resource "azuread_service_principal" "this" {
  client_id = azuread_application.this.client_id
  owners    = concat([var.bot_object_id], var.owner_object_ids)
}

locals {
  client_id = azuread_application.this.client_id
}
