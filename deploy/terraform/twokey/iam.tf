data "aws_iam_policy_document" "ecs_tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

# What starts the container: its log and its own secrets.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "${local.arn}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy_document" "own_secrets" {
  dynamic "statement" {
    for_each = length([for arn in values(var.secrets) : arn if strcontains(arn, ":ssm:")]) > 0 ? [1] : []
    content {
      sid       = "OwnParameters"
      actions   = ["ssm:GetParameters"]
      resources = [for arn in values(var.secrets) : arn if strcontains(arn, ":ssm:")]
    }
  }
  dynamic "statement" {
    for_each = var.database != null || length([for arn in values(var.secrets) : arn if strcontains(arn, ":secretsmanager:")]) > 0 ? [1] : []
    content {
      sid       = "OwnSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = concat([for arn in values(var.secrets) : arn if strcontains(arn, ":secretsmanager:")], aws_db_instance.this[*].master_user_secret[0].secret_arn)
    }
  }
  dynamic "statement" {
    for_each = length(var.secrets_kms_keys) > 0 ? [1] : []
    content {
      sid       = "OwnKeys"
      actions   = ["kms:Decrypt"]
      resources = var.secrets_kms_keys
    }
  }
}

resource "aws_iam_role_policy" "own_secrets" {
  name   = "own-secrets"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.own_secrets.json
}

# What the bot itself may do. A test holds this against every call that it makes.
resource "aws_iam_role" "bot" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "bot" {
  name   = "twokey"
  role   = aws_iam_role.bot.id
  policy = data.aws_iam_policy_document.bot.json
}

data "aws_iam_policy_document" "bot" {
  statement {
    sid       = "ReadClientIDs"
    actions   = ["ssm:GetParameter", "ssm:GetParameters"]
    resources = local.client_ids
  }
  statement {
    sid = "RotateClientSecrets"
    actions = [
      "ssm:GetParameter",
      "ssm:GetParameters",
      "ssm:GetParameterHistory",
      "ssm:PutParameter",
      "ssm:LabelParameterVersion",
      "ssm:UnlabelParameterVersion",
    ]
    resources = local.client_secrets
  }
  # The live parameters cannot be deleted by the bot, only those that it makes on the way.
  statement {
    sid       = "PendingParameters"
    actions   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:PutParameter", "ssm:DeleteParameter"]
    resources = [for arn in local.client_secrets : "${arn}.pending"]
  }
  dynamic "statement" {
    for_each = length(var.parameter_kms_keys) > 0 ? [1] : []
    content {
      sid       = "ParameterKeys"
      actions   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
      resources = var.parameter_kms_keys
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["ssm.${local.region}.amazonaws.com"]
      }
    }
  }
  statement {
    sid       = "RedeployServices"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = local.services
  }
  statement {
    sid       = "SeeTasks"
    actions   = ["ecs:ListTasks", "ecs:DescribeTasks"]
    resources = ["*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = local.clusters
    }
  }
  # These know no resources.
  statement {
    sid       = "SeeTaskDefinitions"
    actions   = ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"]
    resources = ["*"]
  }
  statement {
    sid       = "WhoReadAndWrote"
    actions   = ["cloudtrail:LookupEvents"]
    resources = ["*"]
  }
  # For /secrets policy: which roles could read the secrets. It shows roles, and changes none.
  statement {
    sid       = "WhoMayRead"
    actions   = ["iam:ListRoles", "iam:SimulatePrincipalPolicy"]
    resources = ["*"]
  }
  # DescribeParameters is about all or nothing: it shows names, types and keys, never values.
  statement {
    sid       = "ParameterTypes"
    actions   = ["ssm:DescribeParameters"]
    resources = ["*"]
  }
  dynamic "statement" {
    for_each = var.inventory ? [1] : []
    content {
      sid       = "Certificates"
      actions   = ["acm:ListCertificates", "acm:DescribeCertificate"]
      resources = ["*"]
    }
  }
  # How the bot signs in to Entra: no secret, a token of AWS that says who it is.
  statement {
    sid       = "SignInToEntra"
    actions   = ["sts:GetWebIdentityToken"]
    resources = ["*"]
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "sts:IdentityTokenAudience"
      values   = ["api://AzureADTokenExchange"]
    }
    condition {
      test     = "NumericLessThanEquals"
      variable = "sts:DurationSeconds"
      values   = ["300"]
    }
  }
}
