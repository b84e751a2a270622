locals {
  path = "/aiconnectors/${var.environment}/${var.name}"
}

# No secret: the client id, as everybody may read it.
resource "aws_ssm_parameter" "client_id" {
  name  = "${local.path}/client_id"
  type  = "String"
  value = local.client_id
}

# Terraform makes the parameter, and never again writes or reads what is in it: a
# write-only value is in no state and no plan, and is written when its version
# changes, which it must not.
resource "aws_ssm_parameter" "client_secret" {
  name             = "${local.path}/client_secret"
  type             = "SecureString"
  key_id           = var.kms_key_id
  value_wo         = "none yet: docs/terraform.md says how the first secret gets here"
  value_wo_version = 1

  lifecycle {
    prevent_destroy = true # its history is the way back
  }
}
