variable "name" {
  description = "Names everything that is made here."
  type        = string
  default     = "twokey"
}

variable "image" {
  description = "The image that the Dockerfile builds, by digest: registry/twokey@sha256:…"
  type        = string
}

variable "config" {
  description = "The text of twokey.yml, as file(\"twokey.yml\"). What the bot may touch follows from it. It holds no secret; if it did, the bot would refuse it."
  type        = string
}

variable "secrets" {
  description = <<-EOT
    The bot's own secrets: for each environment variable that the configuration names, the ARN of an SSM SecureString
    (or a Secrets Manager secret) that holds it. They are made beside Terraform, so that none is in its state:
      aws ssm put-parameter --type SecureString --name /twokey/slack_app_token --value …
  EOT
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:[a-z-]+:(ssm:[^:]*:[0-9]+:parameter/|secretsmanager:[^:]*:[0-9]+:secret:)", arn))])
    error_message = "Each must be the ARN of an SSM parameter or of a Secrets Manager secret: a secret's text does not belong here."
  }
}

variable "secrets_kms_keys" {
  description = "ARNs of customer managed KMS keys that the bot's own secrets are encrypted with. None for aws/ssm."
  type        = list(string)
  default     = []
}

variable "parameter_kms_keys" {
  description = "ARNs of customer managed KMS keys that the secrets of the MCP servers are encrypted with. None for aws/ssm."
  type        = list(string)
  default     = []
}

variable "cluster" {
  description = "ARN or name of the ECS cluster that the bot runs in."
  type        = string
}

variable "vpc_id" {
  description = "Where the bot runs. It needs the way out to Slack, Entra and AWS, and to the MCP servers."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of at least two zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "Name two subnets at least, in different zones: a replica and the database outlive the loss of one."
  }
}

variable "replicas" {
  description = "How many bots run. With two, one takes over when the other's zone is lost. All share the database."
  type        = number
  default     = 2
}

variable "database" {
  description = <<-EOT
    PostgreSQL made here: class, storage in GiB, days of backups. Null: there is one already, and secrets names the ARN of
    DATABASE_URL. SQLite is not for Fargate: its disk ends with the task.
  EOT
  type = object({
    class        = optional(string, "db.t4g.micro")
    storage      = optional(number, 20)
    backup_days  = optional(number, 35)
    engine       = optional(string, "17")
    delete_guard = optional(bool, true)
  })
  default = {}
}

variable "mcp_ports" {
  description = "TCP ports on which the MCP servers answer, besides 443."
  type        = list(number)
  default     = []
}

variable "log_days" {
  description = "How long CloudWatch keeps the log. The record of who did what is in the database, not in the log."
  type        = number
  default     = 400
}

variable "inventory" {
  description = "Let the bot list all ACM certificates and all parameters' descriptions (never values), for what expires."
  type        = bool
  default     = true
}

variable "tags" {
  description = "On everything that takes tags."
  type        = map(string)
  default     = {}
}
