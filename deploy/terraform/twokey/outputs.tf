output "role_arn" {
  description = "The bot's role: the subject of the federated credential in Entra."
  value       = aws_iam_role.bot.arn
}

output "policy" {
  description = "What the bot may do, for whoever reviews it."
  value       = data.aws_iam_policy_document.bot.json
}

output "security_group_id" {
  description = "Let the MCP servers take requests from it."
  value       = aws_security_group.bot.id
}

output "log_group" {
  value = aws_cloudwatch_log_group.this.name
}

output "managed" {
  description = "What the configuration comes to: parameters and services."
  value       = local.managed
}
