-- Run once by the PostgreSQL container, on an empty volume: the services' role is an ordinary one.
CREATE ROLE gitsplit LOGIN PASSWORD '{{.DatabasePassword}}';
CREATE DATABASE gitsplit OWNER gitsplit;
