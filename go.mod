module github.com/idpsync/idpsync

go 1.26.0
