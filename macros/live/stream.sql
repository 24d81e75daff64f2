{#- An input of a streaming model:
    `from {{ stream(source('…', '…'), event_time='ts', delay='30 seconds') }} as events`

    Renders the plain relation, which is what `dbt build`, unit tests and the linter run, with two
    comments in it that say what the engine makes of it (loaders/live_models.py):

        (select * from R /* stream */ where …) /* watermark ts delay of interval 30 seconds */
        (select * from stream(R)      where …)    watermark ts delay of interval 30 seconds

    `where` is applied before the watermark: a row with a clock that runs ahead, which it leaves
    out, cannot close windows that others still need. -#}
{%- macro stream(relation, event_time, delay, where='true') -%}
    {%- if not event_time.isidentifier() -%}
        {{- exceptions.raise_compiler_error(
            "stream: event_time is '" ~ event_time ~ "'; give the name of a column"
        ) -}}
    {%- endif -%}
    {%- set amount, unit = (delay.split(' ') + ['', ''])[:2] -%}
    {%- if not amount.isdecimal() or delay != amount ~ ' ' ~ unit
        or unit.rstrip('s') not in ['second', 'minute', 'hour', 'day'] -%}
        {{- exceptions.raise_compiler_error(
            "stream: delay is '" ~ delay ~ "'; write it as '30 seconds', '2 minutes' or '1 hour'"
        ) -}}
    {%- endif -%}
    (select * from {{ relation }} /* stream */ where {{ where }})
    /* watermark {{ event_time }} delay of interval {{ delay }} */
{%- endmacro -%}
