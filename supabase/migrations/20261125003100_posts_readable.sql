-- The publishable key may read posts, but not who wrote them.
--
-- `author_name`, `user_id_hash` and `comments` (which name people too) are left out, so `select=*` is refused: a site
-- names the columns that it shows. If the publishable key should read no posts at all, revoke this in a migration of
-- your own: `revoke select on public.posts from anon, authenticated;`
set lock_timeout = '10s';

grant select (
  id, neighborhood_id, post_id_ext, text, hash, url, image_urls, reaction_count, posted_at, created_at, used_on_episode,
  saved, ignored, text_search
) on public.posts to anon, authenticated;

reset lock_timeout;
