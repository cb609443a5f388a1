package adversaries

func diskRows() []row     { return nil }
func postgresRows() []row { return nil }
func clockRows() []row    { return nil }
func backupRows() []row   { return nil }
func answerRows() []row   { return nil }
func swappedRows() []row  { return nil }
func fileRows() []row     { return nil }
func hookRows() []row     { return nil }
