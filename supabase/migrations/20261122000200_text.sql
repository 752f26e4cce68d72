-- What the database needs to know about a post's text: whether it is blank, and its hash.

-- contract: Whether a text is null or has only characters of Unicode's White_Space property, like `str::trim` in Rust.
--
-- SQL's `trim()` removes spaces alone, so it took a text of one newline for a text. There is no `set search_path`,
-- because the planner inlines only functions without one, and this runs once for each row of a scan. So every name
-- here carries its schema.
create or replace function public.is_blank(p_text text)
returns boolean
language sql immutable parallel safe
as $$
  select p_text is null or pg_catalog.ltrim(
    p_text,
    E'\u0009\u000A\u000B\u000C\u000D\u0020\u0085\u00A0\u1680'
    '\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A'
    '\u2028\u2029\u202F\u205F\u3000'
  ) operator(pg_catalog.=) ''
$$;

-- contract: The SHA-256 of the UTF-8 text in hex. Embeddings and scores carry it as `text_hash`.
create or replace function public.text_sha256(p_text text)
returns text
language sql stable parallel safe
set search_path = pg_catalog
as $$
  select encode(sha256(convert_to(p_text, 'UTF8')), 'hex')
$$;
