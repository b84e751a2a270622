locals {
  database_name = "twokey"
  database_user = "twokey"
}

resource "aws_db_subnet_group" "this" {
  count      = var.database == null ? 0 : 1
  name       = var.name
  subnet_ids = var.subnet_ids
  tags       = var.tags
}

resource "aws_security_group" "database" {
  count       = var.database == null ? 0 : 1
  name        = "${var.name}-database"
  description = "twokey: PostgreSQL for the bot alone"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count                        = var.database == null ? 0 : 1
  security_group_id            = aws_security_group.database[0].id
  referenced_security_group_id = aws_security_group.bot.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  tags                         = var.tags
}

resource "aws_vpc_security_group_egress_rule" "database" {
  count                        = var.database == null ? 0 : 1
  security_group_id            = aws_security_group.bot.id
  description                  = "PostgreSQL"
  referenced_security_group_id = aws_security_group.database[0].id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  tags                         = var.tags
}

# It holds plans, decisions and the record, and no secret of the platform. Its password is made and kept by AWS: it is
# neither in Terraform's state nor in the plan.
resource "aws_db_instance" "this" {
  count                       = var.database == null ? 0 : 1
  identifier                  = var.name
  engine                      = "postgres"
  engine_version              = var.database.engine
  instance_class              = var.database.class
  allocated_storage           = var.database.storage
  storage_encrypted           = true
  db_name                     = local.database_name
  username                    = local.database_user
  manage_master_user_password = true
  multi_az                    = true
  publicly_accessible         = false
  db_subnet_group_name        = aws_db_subnet_group.this[0].name
  vpc_security_group_ids      = [aws_security_group.database[0].id]
  backup_retention_period     = var.database.backup_days
  copy_tags_to_snapshot       = true
  deletion_protection         = var.database.delete_guard
  skip_final_snapshot         = !var.database.delete_guard
  final_snapshot_identifier   = "${var.name}-last"
  auto_minor_version_upgrade  = true
  tags                        = var.tags
}
