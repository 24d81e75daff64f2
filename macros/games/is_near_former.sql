{#- Whether a day is at most so many days away from where an input's new events stood before they
    moved (moved_from), as is_near_news has it for where they stand. -#}
{%- macro is_near_former(input, day, days, cursor='_batch_id') -%}
    {{ is_near_news(input, 'array_min(moved_from)', days, day=day, cursor=cursor) }}
    or {{ is_near_news(input, 'array_max(moved_from)', days, day=day, cursor=cursor) }}
{%- endmacro -%}
