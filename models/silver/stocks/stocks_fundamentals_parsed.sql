{#- One row per bronze record, fit or not: a record that may not go on says why. -#}
{{ config(materialized = 'view') }}

with

stocks_fundamentals_delivered as (

    select data, _bucket, _key, _version, _ordinal, _modified_at, _batch_id
    from {{ source('bronze_stocks', 'stocksFundamentals') }}

),

records as (

    select
        *,
        from_json(
            data,
            'ticker string, fiscal_period string, period_start string, period_end string,
            fiscal_year string, fiscal_quarter string, eps_basic_net string,
            eps_diluted_net string, filing_type string, filed_date string, currency string,
            source string, verified string, updated string, _unreadable string',
            map('columnNameOfCorruptRecord', '_unreadable')
        ) as record
    from stocks_fundamentals_delivered

),

fields as (

    select
        data,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id,
        record is not null and record._unreadable is null as is_object,
        {{ supplied('record.ticker') }} as ticker,
        {{ supplied('record.fiscal_period') }} as fiscal_period,
        {{ supplied('record.period_start') }} as period_start_text,
        {{ supplied('record.period_end') }} as period_end_text,
        {{ supplied('record.fiscal_year') }} as fiscal_year_text,
        {{ supplied('record.fiscal_quarter') }} as fiscal_quarter,
        {{ supplied('record.eps_basic_net') }} as eps_basic_net_text,
        {{ supplied('record.eps_diluted_net') }} as eps_diluted_net_text,
        {{ supplied('record.filing_type') }} as filing_type,
        {{ supplied('record.filed_date') }} as filed_date_text,
        {{ supplied('record.currency') }} as currency,
        {{ supplied('record.source') }} as source,
        try_cast({{ supplied('record.verified') }} as boolean) as verified,
        try_cast({{ supplied('record.updated') }} as timestamp) as updated
    from records

),

typed as (

    select
        *,
        {{ full_date('period_start_text') }} as period_start,
        {{ full_date('period_end_text') }} as period_end,
        try_cast(fiscal_year_text as int) as fiscal_year,
        try_cast(eps_basic_net_text as decimal(18, 6)) as eps_basic_net,
        try_cast(eps_diluted_net_text as decimal(18, 6)) as eps_diluted_net,
        {{ full_date('filed_date_text') }} as filed_date
    from fields

),

stocks_fundamentals_parsed as (

    select
        ticker,
        fiscal_period,
        period_start,
        period_end,
        fiscal_year,
        fiscal_quarter,
        eps_basic_net,
        eps_diluted_net,
        filing_type,
        filed_date,
        currency,
        source,
        -- what nobody vouches for is unverified
        coalesce(verified, false) as verified,
        updated,
        case
            when not is_object then 'not_an_object'
            when ticker is null then 'missing_ticker'
            when fiscal_period is null or fiscal_quarter is null then 'missing_fiscal_period'
            when filing_type is null then 'missing_filing_type'
            when filed_date_text is null then 'missing_filed_date'
            when period_start_text is null or period_end_text is null
                then 'missing_period'
            when filed_date is null or period_start is null or period_end is null
                then 'not_a_date'
            -- the label decides what is a quarter, so label and field must agree
            when
                fiscal_quarter not in ('Q1', 'Q2', 'Q3', 'Q4', 'FY')
                or not endswith(fiscal_period, fiscal_quarter)
                then 'invalid_fiscal_period'
            when filed_date > date_add(to_date(_modified_at), 1) then 'future_date'
            when filed_date < period_end then 'filed_before_period_end'
            -- year-to-date figures share a filing with the quarter's own
            when
                fiscal_quarter <> 'FY'
                and datediff(period_end, period_start) + 1 not between 80 and 100
                then 'not_a_quarter_long'
            when {{ any_not_finite(['eps_basic_net_text', 'eps_diluted_net_text']) }}
                then 'not_finite'
            when
                {{ any_unreadable({
                    'eps_basic_net_text': 'eps_basic_net',
                    'eps_diluted_net_text': 'eps_diluted_net',
                    'fiscal_year_text': 'fiscal_year',
                }) }}
                then 'not_a_number'
        end as reject_reason,
        data,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from typed

)

select * from stocks_fundamentals_parsed
