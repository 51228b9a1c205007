#!/bin/sh
# The login role comes before the sample data, which grants it its roles.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$LOGIN_PASSWORD" -U postgres -d shop <<'SQL'
CREATE ROLE pn_login LOGIN NOINHERIT PASSWORD :'password';
SQL
