module gooracle

go 1.23
