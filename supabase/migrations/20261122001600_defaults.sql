-- Settings and weights for a database that has none. Existing ones are left as they are.
insert into public.settings (key, value) values
  ('novelty_config', '{
    "min_multiplier": 0.2,
    "max_multiplier": 1.5,
    "frequency_thresholds": {"rare": 5, "common": 30, "very_common": 100},
    "window_days": 30
  }'),
  ('search_defaults', '{"similarity_threshold": 0.5, "limit": 10}'),
  ('ranking_weights', '{
    "absurdity": 2.5, "discussion_spark": 1.0, "drama": 1.5, "emotional_intensity": 1.2, "news_value": 1.0,
    "podcast_worthy": 2.5, "readability": 1.2
  }')
on conflict (key) do nothing;

do $$
declare
  v_config uuid := public.active_weight_config();
begin
  if v_config is null then
    insert into public.weight_configs (name, weights, is_active, created_by)
      select 'Default', value, true, 'migration' from public.settings where key = 'ranking_weights'
      returning id into v_config;
  end if;
  insert into public.settings (key, value) values ('active_weight_config_id', to_jsonb(v_config::text))
  on conflict (key) do nothing;
end
$$;
