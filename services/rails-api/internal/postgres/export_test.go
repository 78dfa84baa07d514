package postgres

// What tests change: the migrations.
var (
	MigrateFiles = migrate
	Embedded     = embedded
)
