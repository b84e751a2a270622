variable "name" {
  description = "The MCP server, as people type it: sharepoint."
  type        = string
}

variable "environment" {
  description = "dev or prod."
  type        = string
}

variable "bot_object_id" {
  description = "Object id of the service principal of twokey. As an owner it may make and remove this application's secrets, and no other's."
  type        = string
}

variable "owner_object_ids" {
  description = "Object ids of the people who own the application besides."
  type        = list(string)
  default     = []
}

variable "kms_key_id" {
  description = "KMS key of the parameter, and twokey's kms_key."
  type        = string
  default     = "alias/aws/ssm"
}
