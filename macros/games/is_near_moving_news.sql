{#- is_near_news of events: near where they stand, and where they stood before they moved
    (moved_from). -#}
{%- macro is_near_moving_news(input, days, day='happened_on', cursor='_batch_id') -%}
    {{ is_near_news(
        input,
        'least(happened_on, cast(array_min(moved_from) as date))',
        days,
        day=day,
        cursor=cursor,
        last_day='greatest(happened_on, cast(array_max(moved_from) as date))'
    ) }}
{%- endmacro -%}
