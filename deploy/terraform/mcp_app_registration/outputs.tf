output "client_id" {
  description = "The application's client id."
  value       = local.client_id
}

output "client_secret_parameter" {
  description = "ARN for the task definition's secrets (valueFrom)."
  value       = aws_ssm_parameter.client_secret.arn
}
