-- A few posts for `supabase db reset`, for a first `sluice embed` and `sluice score`. `sluice store sample/posts.jsonl`
-- stores more.
insert into public.neighborhoods (name, slug) values
  ('Cañada del Oro', 'canada-del-oro'),
  ('St. Johns', 'st-johns')
on conflict (slug) do nothing;

insert into public.posts (neighborhood_id, post_id_ext, author_name, text, hash, posted_at)
  select n.id, 'seed-' || seed.place, seed.author, seed.text, public.text_sha256(seed.text), now() - seed.age
  from (values
    (1, 'canada-del-oro', 'Marta', 'Javelinas tipped over every bin on our street again. Does a brick on the lid help?',
      interval '2 hours'),
    (2, 'canada-del-oro', 'Owen', 'Found a small tortoise near the wash, with a number painted on its shell.',
      interval '1 day'),
    (3, 'st-johns', 'Priya', 'The foghorn went all night. I have started to miss it when it stops.', interval '5 hours'),
    (4, 'st-johns', 'Len', 'Someone left a piano on the corner of Lombard, and three people can play it.',
      interval '3 days')
  ) as seed (place, slug, author, text, age)
    join public.neighborhoods n on n.slug = seed.slug
on conflict (neighborhood_id, hash) do nothing;
