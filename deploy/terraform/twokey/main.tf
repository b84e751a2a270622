data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  region  = data.aws_region.this.name
  arn     = "arn:${data.aws_partition.this.partition}"

  # The configuration is read as the bot reads it: what stands nearer to one secret wins.
  config   = yamldecode(var.config)
  defaults = try(local.config.defaults, {})
  expanded = flatten([
    for entry in local.config.secrets : [
      for pair in setproduct(entry.servers, entry.environments) : {
        server      = pair[0]
        environment = pair[1]
        layers = [
          local.defaults,
          entry,
          try(entry.per_environment[pair[1]], {}),
          try(entry.per_server[pair[0]], {}),
          try(entry.per_secret["${pair[0]}/${pair[1]}"], {}),
        ]
      }
    ]
  ])
  managed = [
    for s in local.expanded : {
      for key, pattern in {
        client_id     = reverse([for l in s.layers : l.client_id if can(l.client_id)])[0]
        client_secret = reverse([for l in s.layers : l.client_secret if can(l.client_secret)])[0]
        cluster       = reverse([for l in s.layers : l.ecs.cluster if can(l.ecs.cluster)])[0]
        service       = reverse([for l in s.layers : l.ecs.service if can(l.ecs.service)])[0]
      } : key => replace(replace(pattern, "{env}", s.environment), "{mcp}", s.server)
    }
  ]

  parameter      = "${local.arn}:ssm:${local.region}:${local.account}:parameter"
  client_ids     = distinct([for s in local.managed : "${local.parameter}${s.client_id}"])
  client_secrets = distinct([for s in local.managed : "${local.parameter}${s.client_secret}"])
  services       = distinct([for s in local.managed : "${local.arn}:ecs:${local.region}:${local.account}:service/${s.cluster}/${s.service}"])
  clusters       = distinct([for s in local.managed : "${local.arn}:ecs:${local.region}:${local.account}:cluster/${s.cluster}"])

  # With a database made here, the address has no password: PGPASSWORD has it.
  database_url = var.database == null ? {} : {
    DATABASE_URL = "postgres://${local.database_user}@${aws_db_instance.this[0].endpoint}/${local.database_name}?sslmode=require"
  }
  database_secret = var.database == null ? {} : {
    PGPASSWORD = "${aws_db_instance.this[0].master_user_secret[0].secret_arn}:password::"
  }
  own_secrets = merge(var.secrets, local.database_secret)
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_days
  tags              = var.tags
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.bot.arn
  tags                     = var.tags

  container_definitions = jsonencode([{
    name                   = "twokey"
    image                  = var.image
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { add = [], drop = ["ALL"] } }
    stopTimeout            = 60 # a step that is under way is handed over within it
    command                = ["run", "--config", "env:TWOKEY_CONFIG"]
    environment = [for name, value in merge({ TWOKEY_CONFIG = var.config }, local.database_url) :
    { name = name, value = value }]
    secrets = [for name, arn in local.own_secrets : { name = name, valueFrom = arn }]
    healthCheck = {
      command     = ["CMD", "/usr/local/bin/twokey", "health"]
      interval    = 30
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "twokey"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  name            = var.name
  cluster         = var.cluster
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.replicas
  launch_type     = "FARGATE"
  tags            = var.tags

  # A new version joins before an old one leaves: they share the database, and each operation has one worker.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.bot.id]
    assign_public_ip = false
  }
}

# Nobody connects to the bot: it calls Slack (Socket Mode), Entra, AWS and the MCP servers.
resource "aws_security_group" "bot" {
  name        = var.name
  description = "twokey: nothing in, HTTPS and the database out"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = toset([for port in concat([443], var.mcp_ports) : tostring(port)])
  security_group_id = aws_security_group.bot.id
  description       = "Slack, Entra, AWS, MCP servers"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
  tags              = var.tags
}
