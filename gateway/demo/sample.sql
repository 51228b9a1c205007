-- The shop of the demo: people with personal data, their orders and refunds. Every value is made up.
CREATE ROLE pn_read;
CREATE ROLE pn_write;
CREATE ROLE pn_admin;
GRANT pn_read, pn_write, pn_admin TO pn_login;

CREATE SCHEMA sales;
CREATE TABLE sales.people (
    id int PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    phone text NOT NULL,
    ssn char(11) NOT NULL,
    city text NOT NULL
);
CREATE TABLE sales.orders (
    id int PRIMARY KEY,
    person_id int NOT NULL REFERENCES sales.people,
    item text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    placed date NOT NULL
);
CREATE TABLE sales.refunds (
    id int PRIMARY KEY,
    order_id int NOT NULL REFERENCES sales.orders,
    status text NOT NULL,
    note text
);
CREATE TABLE sales.salaries (
    employee text PRIMARY KEY,
    salary int NOT NULL
);

INSERT INTO sales.people
SELECT n,
    first || ' ' || last,
    lower(first) || '.' || lower(last) || '@mail.example',
    '+1 555 01' || lpad((n * 37 % 100)::text, 2, '0'),
    '9' || lpad((n * 71 % 100)::text, 2, '0') || '-' || lpad((n * 13 % 90 + 10)::text, 2, '0')
        || '-' || lpad((n * 7919 % 10000)::text, 4, '0'),
    (ARRAY['Lisbon', 'Oslo', 'Vienna', 'Turin', 'Ghent'])[1 + n % 5]
FROM generate_series(1, 60) AS n,
LATERAL (SELECT
    (ARRAY['Ada', 'Bruno', 'Clara', 'David', 'Elena', 'Felix', 'Greta', 'Hugo', 'Ines', 'Jonas'])
        [1 + (n - 1) % 10] AS first,
    (ARRAY['Berg', 'Costa', 'Dahl', 'Evans', 'Fuchs', 'Grant'])[1 + (n - 1) / 10] AS last) AS names;

INSERT INTO sales.orders
SELECT n, 1 + n * 7 % 60, (ARRAY['lamp', 'desk', 'chair', 'shelf'])[1 + n % 4],
    (n * 37 % 400) + 9.90, date '2026-01-01' + n % 200
FROM generate_series(1, 400) AS n;

INSERT INTO sales.refunds
SELECT n, n * 5, (ARRAY['paid', 'open', 'rejected', 'paid'])[1 + n % 4], 'asked by mail'
FROM generate_series(1, 48) AS n;

INSERT INTO sales.salaries VALUES ('Nora', 71000), ('Paul', 64000), ('Rosa', 82000);

GRANT USAGE ON SCHEMA sales TO pn_read, pn_write, pn_admin;
GRANT SELECT ON ALL TABLES IN SCHEMA sales TO pn_read;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sales TO pn_write;
GRANT ALL ON ALL TABLES IN SCHEMA sales TO pn_admin;
