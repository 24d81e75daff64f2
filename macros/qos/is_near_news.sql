{#- Whether a day, or the day of a time, is at most so many days away from the rows of an input that
    this model has not merged yet. The first and last of their days are printed as literals: only
    those let Delta skip files. True for all in a first build or full refresh. Unit tests replace
    it. -#}
{%- macro is_near_news(
    input, input_day, days, day=none, cursor='_batch_id', batch='_batch_id', last_day=none
) -%}
    {%- if execute and is_incremental() -%}
        {%- set query -%}
            select
                cast(date_sub(min({{ input_day }}), {{ days }}) as string) as first_day,
                cast(date_add(max({{ last_day or input_day }}), {{ days + 1 }}) as string) as end_day
            from {{ ref(input) if input is string else input }}
            where {{ is_new(batch, cursor=cursor) }}
        {%- endset -%}
        {%- set extent = first_row(query) -%}
        {%- set day = day or input_day -%}
        {%- if extent[0] is none -%}
            false
        {%- else -%}
            ({{ day }} >= date'{{ extent[0] }}' and {{ day }} < date'{{ extent[1] }}')
        {%- endif -%}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro -%}
