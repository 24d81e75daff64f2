{#- Whether a log row of a day can be that of an event: at most a day apart. Request ids come again
    out of browsers' caches, and clients' clocks run ahead. -#}
{%- macro is_log_of(event_at, logdate) -%}
    abs(datediff(cast({{ event_at }} as date), {{ logdate }})) <= 1
{%- endmacro -%}
